"""The ledger as a worker has it: a job, its slot and the beginning of its attempt in one step, one round trip."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from worker.jobs import JobState
from worker.ledger import Ledger
from worker.ledger_fields import short_of
from worker.retry_policy import MAX_ATTEMPTS
from worker.slots import NotYet, Reserved, Taken

if TYPE_CHECKING:
    from worker.jobs import WarRoomJob
    from worker.records import Claim
    from worker.token_bucket import TokenBucket


class WorkersLedger(Ledger):
    """The account's ledger, and its bucket beside it."""

    bucket: TokenBucket

    def beside(self, bucket: TokenBucket) -> Self:
        """The same, with this bucket."""
        self.bucket = bucket
        return self

    def take(self, job: WarRoomJob, worker: str) -> Taken | JobState:
        """Claims the job whose turn it is and asks for its first slot; with a slot, its attempt has begun.

        Its creating call goes out with that slot, unless the job looks first.

        Returns:
            The claim and what the bucket said, which is not asked if the attempts are used up; or the named job's state
            if no job waits.
        """
        keys, args = self.bucket.asking()
        claim, reply = self._claim("take", job, worker, keys, (MAX_ATTEMPTS, *args))
        if isinstance(claim, JobState):
            return claim
        answer = self.bucket.answer(reply) if reply else None
        if isinstance(answer, Reserved):
            self._hands.sent(claim, sent=not claim.look_first)
        return Taken(claim, answer)

    def slot(self, claim: Claim, *, sent: bool, ticket: bool = False) -> Reserved | NotYet | None:
        """Asks for a slot of the attempt, which begins with it; `sent` if its creating call goes out then.

        Returns:
            What the bucket said; None if the claim is lost.
        """
        keys, args = self.bucket.asking(ticket=ticket)
        before = self._hands.sent(claim, sent=sent)
        fields = (short_of(claim.job.id), claim.token, claim.attempt, "1" if sent else "")
        reply = self._call("slot", *fields, *args, more_keys=keys)
        if not reply:
            self._hands.let_go(claim)
            return None
        answer = self.bucket.answer(reply)
        if isinstance(answer, NotYet):
            self._hands.back(before)
        return answer
