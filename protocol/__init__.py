"""The wire contract between vehicles and the cloud. Imports nothing else of ours."""
