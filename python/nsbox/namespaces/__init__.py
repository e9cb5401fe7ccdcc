"""Open namespaces: handles of them, and scopes in which a thread is in them."""
