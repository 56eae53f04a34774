"""The protocols that clients speak to the gateway, each translated to and from chat completions. Pure."""
