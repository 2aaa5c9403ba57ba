"""Certificates: a CA for each cluster, who is who, and TLS between machines. Needs the extra `tls`."""

try:
    import cryptography  # noqa: F401
    import OpenSSL  # noqa: F401
except ImportError as error:
    raise ImportError(
        f"clusters over several machines need {error.name}, which isn't installed: pip install 'twistcluster[tls]'",
        name=error.name,
    ) from None
