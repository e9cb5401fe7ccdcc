"""Text, HTML and SVG made from records, by pure functions. Nothing here reads the machine."""
