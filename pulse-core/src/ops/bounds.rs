//! What a key that is bound to rooms may not have to do with.

use crate::{
    access::keyring::KeyRecord,
    error::{Code, Error, Result},
    media::room::RoomName,
    op::Cx,
};

/// Refuses when the caller is a key that is bound to other rooms; `None` stands for every room. `what` is the plural of
/// what the call is about, such as `tokens`.
pub(super) fn check_room(cx: &Cx<'_>, what: &str, room: Option<&RoomName>) -> Result<()> {
    let constraints = cx.call.caller.key().and_then(KeyRecord::constraints);
    if constraints.is_none_or(|constraints| constraints.allow_room(room)) {
        return Ok(());
    }
    let where_to = room.map_or_else(|| "whatever their room".to_owned(), |room| format!("for the room {room}"));
    Err(Error::new(Code::Forbidden, format!("this key may not have to do with {what} {where_to}")))
}
