"""This package is generated from proto/tocsin/v1; never edit it."""
