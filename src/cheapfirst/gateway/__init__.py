"""The OpenAI-compatible server: any client, in any language, by changing one URL."""
