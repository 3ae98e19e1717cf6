"""ML Programs on disk: packages, weight files, and the way between protobuf and `ir`."""
