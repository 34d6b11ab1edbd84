"""Options as other programs spell them: what becomes of each, as tables, and what applies them."""
