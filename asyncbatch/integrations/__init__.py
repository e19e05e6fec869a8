"""At home in a web application: one module a framework, and in each the same three notions.

The client, opened and closed with the application; a route that takes providers' webhooks; and a way to get at the client in
a handler. Nothing here imports a framework but its own module, which users import by name.
"""
