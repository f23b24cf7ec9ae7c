"""The version of jaxsal that is installed."""

from jaxsal.common import provenance

__version__ = provenance.versions("jaxsal").get("jaxsal", "unknown")
