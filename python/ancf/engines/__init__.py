"""Lists and scores on somebody else's cluster: what the driver prepares, and what each worker does.

``ancf.spark`` and ``ancf.ray`` bring the two together. An engine moves the rows; a worker answers a batch of users with
the same scorer as ``model.recommend``, so that an answer depends on the user alone, never on partitions or workers.
"""
