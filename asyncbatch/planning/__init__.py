"""Pure decisions: functions of (state, now, u) that say what to do next; somebody else does it."""
