"""The side that knows torch: consumer, trainer and engine."""

import logging

# As it is first imported (peft does so too, hence here) it asks for `kernels`, which runs code from a hub, and says in
# every log that it has none. Nothing else is said by this logger.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
