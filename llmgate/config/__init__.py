"""From a file, a mapping or the environment to options that were checked.

`loading` reads text, `expanding` puts environment variables in, `short_forms` writes out what was written short,
`settings` checks and freezes, `explaining` says what is wrong, `json_schema` tells editors. Nothing is built here.
"""

from .expanding import expand
from .explaining import explain_validation, nearest
from .json_schema import json_schema
from .loading import load_file, load_json, load_toml, load_yaml
from .settings import Settings, settings_from, settings_from_file

__all__ = [
    "Settings",
    "expand",
    "explain_validation",
    "json_schema",
    "load_file",
    "load_json",
    "load_toml",
    "load_yaml",
    "nearest",
    "settings_from",
    "settings_from_file",
]
