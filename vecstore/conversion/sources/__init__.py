"""What is converted, where it is no file as it lies: arrays, frames, stores, rows in another order."""
