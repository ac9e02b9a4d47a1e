"""From a file, a mapping or the environment to options that were checked."""
