"""From a configuration to a generation: filters found, options converted, pipelines built."""
