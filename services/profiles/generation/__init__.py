"""From a request to a profile: prompt, grammar, token budget, generation, encoding."""
