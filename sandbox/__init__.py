"""A Flashduty account on your laptop: the documented API on loopback, strict limits, faults on demand.

A call's way through the files:

    server, connection   TCP and HTTP; keep-alive; cut or silent when a fault says so
    gateway              the order of judgement: route, method, key, pause, limits, fault, body
    models, latency      how the limits are counted, how long a call takes    (pure: time is an argument)
    faults, faulty       which calls go wrong, and what they get instead
    api, fields          the documented endpoints and their validation
    rooms, incidents     what exists; a second create for an incident makes a second room
    envelope, errors     the answer's shape, the documented codes
    stats                the truth: arrivals, worst windows, statuses, duplicates
    state, control       all of it together, and /sandbox/... to look at it and change it
    config, running, cli how it is set up and run: in a test, or as `warrooms sandbox`

What the public material leaves open (how limits are counted, whether create is idempotent, whether a 429
carries Retry-After) is an option here, and its default is the case that is harder on the caller.
"""

from sandbox.config import Limits, SandboxConfig
from sandbox.errors import ConfigError
from sandbox.faults import FaultRule, Kind
from sandbox.running import Sandbox

__all__ = ["ConfigError", "FaultRule", "Kind", "Limits", "Sandbox", "SandboxConfig"]
