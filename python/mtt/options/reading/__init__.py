"""From the text of an options file to typed options, with every problem shown at its line."""
