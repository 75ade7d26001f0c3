//! The way of webhooks to daemons: to the only one, or to several, each of which gets its share of the rooms.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use pulse_tests::livekit_sender::{HttpPost, Post, Tried};
use serde::Deserialize;

/// Posts all of a room to the same daemon: rooms go to the daemons in turns, in the order in which they are first told of.
pub(super) struct Spread {
    posts: Vec<HttpPost>,
    rooms: Mutex<HashMap<String, usize>>,
}

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    room: Room<'a>,
}

#[derive(Deserialize)]
struct Room<'a> {
    name: &'a str,
}

impl Spread {
    /// Over so many connections, shared out among these addresses.
    pub(super) fn over(urls: &[String], connections: usize, answer_within: Duration) -> Self {
        let each = connections.div_ceil(urls.len());
        let posts = urls.iter().map(|url| HttpPost::to(url, each, answer_within)).collect();
        Self { posts, rooms: Mutex::default() }
    }

    /// The place of the daemon that gets the room.
    fn place(&self, body: &[u8]) -> usize {
        let Told { room } = serde_json::from_slice(body).expect("a webhook of a story");
        let mut rooms = self.rooms.lock();
        if let Some(place) = rooms.get(room.name) {
            return *place;
        }
        let place = rooms.len() % self.posts.len();
        rooms.insert(room.name.to_owned(), place);
        place
    }
}

impl Post for Spread {
    async fn post(&self, authorization: &str, body: Bytes) -> Tried {
        let place = if self.posts.len() > 1 { self.place(&body) } else { 0 };
        self.posts[place].post(authorization, body).await
    }
}
