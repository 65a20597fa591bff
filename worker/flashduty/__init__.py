"""Flashduty's Open API over httpx. Import from here.

    client.py     Flashduty: one method per endpoint we call; what it asks, what it keeps
    answers.py    the values it returns, and how they are read from `data`
    envelope.py   one HTTP answer -> its data, or the leaf of the error tree: the one seam
    wire.py       one POST: thread-local clients, body limit, httpx's errors translated
    transport.py  below httpx's client: adds the key, keeps the total deadline
    app_key.py    the secret: masked, checked, removed from every text that comes back

The API takes its key in the query string, and httpx logs URLs and hangs requests on its exceptions. So the
key exists only below the client, httpx's exceptions end at wire.py, and errors are raised in frames that saw
neither the key nor a raw answer.
"""

from worker.flashduty.answers import Incident, IncidentPage, IncidentQuery, Integration, ListedRoom, Reply
from worker.flashduty.client import Flashduty

__all__ = ["Flashduty", "Incident", "IncidentPage", "IncidentQuery", "Integration", "ListedRoom", "Reply"]
