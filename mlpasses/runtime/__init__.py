"""What ops compute: plain functions of arrays, one file a family, and the table that finds them by op type."""
