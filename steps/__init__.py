"""sightline: what does post-training do to a multimodal model's sight?"""
