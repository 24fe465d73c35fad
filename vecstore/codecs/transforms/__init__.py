"""Array to array: what is done to vectors before they are quantized."""
