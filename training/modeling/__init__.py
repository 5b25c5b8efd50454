"""The model that a job trains: adapters, chats as tokens, packing, the reward model."""
