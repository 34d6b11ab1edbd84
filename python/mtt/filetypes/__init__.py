"""What a file is, told from its bytes; nothing in it is executed."""
