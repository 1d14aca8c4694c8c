"""The context returns: whether a ride ended where and as it should."""
