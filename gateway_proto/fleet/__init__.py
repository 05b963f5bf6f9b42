"""Shards over several processes and machines: who owns a shard, what is logged, who may identify.

Each class takes `now`, returns requests to a store and gets the answers; it does no I/O. Importing
`gateway_proto` does not import this module.
"""

from gateway_proto.fleet.assignment import assign_shards
from gateway_proto.fleet.command_inbox import CommandInbox, TakenCommand
from gateway_proto.fleet.command_messages import (
    CommandAnswer,
    CommandMessage,
    DesiredPresence,
    check_command,
    decode_command,
    encode_command,
    mailbox_of,
)
from gateway_proto.fleet.delivery import (
    CommandError,
    Delivery,
    DeliveryOutcome,
    DeliveryStep,
    FindOwner,
    NotSent,
    PostCommand,
    RemoveCommand,
    Sent,
    WaitForAnswer,
)
from gateway_proto.fleet.feed_cursor import FeedCursor
from gateway_proto.fleet.feed_events import (
    Cutover,
    FeedEvent,
    LoggedDispatch,
    LogRewound,
    RecordsDropped,
    SessionLost,
    feed_events,
)
from gateway_proto.fleet.generation_steps import (
    CancelChange,
    EnterNext,
    FinishChange,
    GenerationFollower,
    GenerationRole,
    GenerationStep,
    LeavePresent,
    OpenNext,
)
from gateway_proto.fleet.generations import (
    Generation,
    GenerationPhase,
    Generations,
    GroupPlace,
    Preparation,
    Resharding,
)
from gateway_proto.fleet.identify_slots import IdentifySlots, SlotWrite
from gateway_proto.fleet.ledger import Ledger
from gateway_proto.fleet.log_answers import LogAnswers, RequestOutcome
from gateway_proto.fleet.mailboxes import MAX_MESSAGE_SIZE, MAX_MESSAGES, check_message
from gateway_proto.fleet.member_record import (
    GatewaySettings,
    MemberRecord,
    ShardStatus,
    Stage,
)
from gateway_proto.fleet.membership import Membership
from gateway_proto.fleet.membership_values import (
    ClaimShard,
    MemberJoined,
    MemberLeft,
    MembershipEvent,
    NotifyMember,
    ReleaseRequested,
    ShardAcquired,
    ShardLost,
    StoreRequest,
    WriteMember,
)
from gateway_proto.fleet.metrics import FleetMetrics
from gateway_proto.fleet.owners import ShardOwners
from gateway_proto.fleet.records import (
    MAX_RECORD_SIZE,
    LoggedEvent,
    LoggedEvents,
    LogHead,
    LogRecord,
    claim_record,
)
from gateway_proto.fleet.reference_store import ReferenceStore

__all__ = [
    "MAX_MESSAGES",
    "MAX_MESSAGE_SIZE",
    "MAX_RECORD_SIZE",
    "CancelChange",
    "ClaimShard",
    "CommandAnswer",
    "CommandError",
    "CommandInbox",
    "CommandMessage",
    "Cutover",
    "Delivery",
    "DeliveryOutcome",
    "DeliveryStep",
    "DesiredPresence",
    "EnterNext",
    "FeedCursor",
    "FeedEvent",
    "FindOwner",
    "FinishChange",
    "FleetMetrics",
    "GatewaySettings",
    "Generation",
    "GenerationFollower",
    "GenerationPhase",
    "GenerationRole",
    "GenerationStep",
    "Generations",
    "GroupPlace",
    "IdentifySlots",
    "LeavePresent",
    "Ledger",
    "LogAnswers",
    "LogHead",
    "LogRecord",
    "LogRewound",
    "LoggedDispatch",
    "LoggedEvent",
    "LoggedEvents",
    "MemberJoined",
    "MemberLeft",
    "MemberRecord",
    "Membership",
    "MembershipEvent",
    "NotSent",
    "NotifyMember",
    "OpenNext",
    "PostCommand",
    "Preparation",
    "RecordsDropped",
    "ReferenceStore",
    "ReleaseRequested",
    "RemoveCommand",
    "RequestOutcome",
    "Resharding",
    "Sent",
    "SessionLost",
    "ShardAcquired",
    "ShardLost",
    "ShardOwners",
    "ShardStatus",
    "SlotWrite",
    "Stage",
    "StoreRequest",
    "TakenCommand",
    "WaitForAnswer",
    "WriteMember",
    "assign_shards",
    "check_command",
    "check_message",
    "claim_record",
    "decode_command",
    "encode_command",
    "feed_events",
    "mailbox_of",
]
