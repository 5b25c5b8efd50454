"""What a recommender learnt, as files that go online: trained here, scored with elsewhere."""
