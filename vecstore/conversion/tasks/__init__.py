"""What every task of a conversion is told: options, which rows it reads, where it works."""
