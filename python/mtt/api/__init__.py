"""mtt from Python: ``mtt.load``, ``mtt.train``, ``mtt.evaluate``, and what they return."""
