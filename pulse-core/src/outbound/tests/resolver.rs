//! Look-ups at a name server on the loopback address.

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::{
        op::{Message, ResponseCode},
        rr::{RData, Record, RecordType},
    },
};
use tokio::{net::UdpSocket, sync::mpsc};

use super::*;
use crate::outbound::resolver::{ask, tuned};

/// What a name server says to a question; `None`: nothing.
type Says = Option<(ResponseCode, Vec<RData>)>;

/// A resolver whose only name server says this, in a network with a search list, and the names that it was asked for.
async fn resolver(
    says: impl Fn(&str, RecordType) -> Says + Send + 'static,
) -> (TokioResolver, mpsc::UnboundedReceiver<String>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (told, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut packet = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            let question = Message::from_vec(&packet[..length]).unwrap();
            let query = question.queries[0].clone();
            let name = query.name.to_string();
            let said = says(&name, query.query_type);
            told.send(name).unwrap();
            let Some((code, records)) = said else { continue };
            let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
            answer.metadata.response_code = code;
            answer.add_answers(records.into_iter().map(|data| Record::from_rdata(query.name.clone(), 60, data)));
            answer.add_query(query);
            socket.send_to(&answer.to_vec().unwrap(), from).await.unwrap();
        }
    });
    let mut connection = ConnectionConfig::udp();
    connection.port = address.port();
    let server = NameServerConfig::new(address.ip(), true, vec![connection]);
    let search = vec!["corp.example.".parse().unwrap()];
    let config = ResolverConfig::from_parts(None, search, vec![server]);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    (tuned(builder).unwrap(), asked)
}

fn address(kind: RecordType) -> RData {
    let text = if kind == RecordType::A { "93.184.215.14" } else { "2606:4700::1111" };
    RData::from(text.parse::<std::net::IpAddr>().unwrap())
}

#[tokio::test]
async fn both_families_are_asked_for_under_the_name_itself_and_never_under_a_search_list() {
    let (resolver, mut asked) = resolver(|_, kind| Some((ResponseCode::NoError, vec![address(kind)]))).await;
    let found = ask(&resolver, "hooks.example").await.unwrap();
    assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["93.184.215.14", "2606:4700::1111"]);
    for _ in 0..2 {
        assert_eq!(asked.recv().await.as_deref(), Some("hooks.example."));
    }
    ask(&resolver, "hooks.example").await.unwrap();
    assert!(asked.try_recv().is_err(), "an answer that is still valid was asked for again");
}

#[tokio::test]
async fn what_name_servers_say_instead_of_addresses_is_told_apart() {
    let says = |name: &str, _: RecordType| {
        let code = match name {
            "none.example." => ResponseCode::NXDomain,
            "empty.example." => ResponseCode::NoError,
            "failed.example." => ResponseCode::ServFail,
            _ => ResponseCode::Refused,
        };
        Some((code, Vec::new()))
    };
    let (resolver, mut asked) = resolver(says).await;
    let too_long = format!("{}.example", "a".repeat(64));
    for (name, why) in [
        ("none.example", Unresolved::NoSuchName),
        ("empty.example", Unresolved::NoSuchName),
        ("failed.example", Unresolved::ServerFailed),
        ("refused.example", Unresolved::ServerFailed),
        (&too_long, Unresolved::NoSuchName),
    ] {
        assert_eq!(ask(&resolver, name).await, Err(why), "{name}");
    }
    while let Ok(name) = asked.try_recv() {
        assert!(!name.contains("corp"), "{name} was asked for");
    }
}

/// Time stands still but for waiting.
#[tokio::test(start_paused = true)]
async fn a_name_server_that_says_nothing_is_given_up() {
    let (resolver, _asked) = resolver(|_, _| None).await;
    let began = tokio::time::Instant::now();
    assert_eq!(ask(&resolver, "hooks.example").await, Err(Unresolved::TimedOut));
    assert!(began.elapsed() < Limits::WEBHOOK.connect, "{:?}", began.elapsed());
}
