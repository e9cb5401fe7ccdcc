"""How the records look: pure functions from what was read to text. Nothing here reads or writes anything."""
