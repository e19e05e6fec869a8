"""Protocols whose shapes outgrow one module, or serve a family: private Structs, and pure functions between them and ours."""
