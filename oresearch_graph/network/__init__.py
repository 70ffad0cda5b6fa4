"""The way to every server: proxies, certificates, time-outs, and why there is no connection."""
