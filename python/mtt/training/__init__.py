"""The one trainer of all architectures: baseline, loss, optimizer, state, loop."""
