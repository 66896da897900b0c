"""Reading and writing of files: scans, geometry, headers, hashes, atomic writes."""
