"""What the `jaxsal` command does, apart from reading its arguments and printing."""
