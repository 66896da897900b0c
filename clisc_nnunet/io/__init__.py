"""Files in and out: scans, geometry, headers, hashes, atomic writes."""
