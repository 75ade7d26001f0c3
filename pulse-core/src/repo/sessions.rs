//! Sessions of rooms and the metered spans in them, in the store.

use serde_json::{Map, Value};

use super::{Document, all, document_basics, get, page};
use crate::{
    error::Result,
    id::{ProjectId, SessionId},
    media::room::RoomName,
    model::{
        interval::{Interval, Subject},
        session::Session,
    },
    page::{Cursor, CursorBinding, Page, PageLimit},
    store::{Collection, Condition, Order, Position, Scan, SharedStore, schema},
    time::Timestamp,
};

/// The most spans of one session that are shown, and of all sessions of a page that are added up.
pub const MAX_SPANS: usize = 20_000;
/// Spans that one scan reads.
const PAGE: usize = 1_000;

impl Document for Session {
    const COLLECTION: &'static Collection = &schema::SESSIONS;
    const KIND: &'static str = "session";
    document_basics!();

    fn derive(&self, doc: &mut Map<String, Value>) {
        if self.ended_at().is_none() {
            doc.insert("live".into(), 1.into());
            doc.insert("live_cluster".into(), self.cluster.clone().into());
        }
    }
}

impl Document for Interval {
    const COLLECTION: &'static Collection = &schema::INTERVALS;
    const KIND: &'static str = "interval";
    document_basics!();

    fn derive(&self, doc: &mut Map<String, Value>) {
        if self.is_open() {
            doc.insert("open".into(), 1.into());
            doc.insert("open_cluster".into(), self.cluster.clone().into());
            if let Subject::Participant { identity, .. } = &self.subject {
                doc.insert("open_identity".into(), identity.clone().into());
            }
        }
    }
}

/// Which sessions a list has.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// Of this room.
    pub room: Option<RoomName>,
    /// That go on (`true`) or are over (`false`).
    pub live: Option<bool>,
    /// Started at or after.
    pub from: Option<Timestamp>,
    /// Started before.
    pub to: Option<Timestamp>,
}

/// Reads sessions.
#[derive(Clone, Debug)]
pub struct Sessions(pub SharedStore);

impl Sessions {
    /// The project's session of that id.
    pub async fn get(&self, project: ProjectId, id: SessionId) -> Result<Option<Session>> {
        Ok(get::<Session>(&self.0, &id.to_string()).await?.filter(|session| session.project_id == project))
    }

    /// The session of a LiveKit room sid.
    pub async fn of_sid(&self, cluster: &str, sid: &str) -> Result<Option<Session>> {
        let found = self.0.find(Session::COLLECTION, "sid", &[cluster.into(), sid.into()]).await?;
        found.map(Session::from_stored).transpose()
    }

    /// The sessions of the same room that are known to have begun last before, and first after, `started_at`.
    pub async fn neighbours(
        &self,
        project: ProjectId,
        cluster: &str,
        room: &RoomName,
        started_at: Timestamp,
    ) -> Result<(Option<Session>, Option<Session>)> {
        let prefix = vec![project.to_string().into(), cluster.into(), room.as_str().into()];
        let mut scan = Scan { limit: 1, ..Scan::new(Session::COLLECTION, "room", prefix) };
        // Where it is not known when a session began, an event that came late may make it seem later than it was.
        scan.filter.push(Condition::Eq("start_known", true.into()));
        let moment = |at: Timestamp| Some(Value::from(at.to_string()));
        let before = Scan { to: moment(started_at), ..scan.clone() };
        let later = moment(started_at.plus(std::time::Duration::from_millis(1)));
        let after = Scan { from: later, order: Order::Ascending, ..scan };
        let (before, after) = (self.0.scan(before).await?, self.0.scan(after).await?);
        let first = |rows: crate::store::Rows| rows.rows.into_iter().next().map(Session::from_stored).transpose();
        Ok((first(before)?, first(after)?))
    }

    /// A page of the project's sessions, newest first.
    pub async fn list(
        &self,
        project: ProjectId,
        filter: &SessionFilter,
        limit: Option<PageLimit>,
        cursor: Option<&Cursor>,
    ) -> Result<Page<Session>> {
        let id = Value::from(project.to_string());
        let mut scan = match filter.live {
            Some(true) => Scan::new(Session::COLLECTION, "project_live", vec![id, 1.into()]),
            Some(false) | None => Scan::new(Session::COLLECTION, "project", vec![id]),
        };
        scan.from = filter.from.map(|from| from.to_string().into());
        scan.to = filter.to.map(|to| to.to_string().into());
        if filter.live == Some(false) {
            scan.filter.push(Condition::Eq("live", Value::Null));
        }
        scan.filter.extend(filter.room.as_ref().map(|room| Condition::Eq("room", room.as_str().into())));
        page::<Session, _>(&self.0, scan, &binding(project, filter), limit, cursor, Clone::clone).await
    }

    /// How many of the project's sessions go on, counted up to `cap`.
    pub async fn count_live(&self, project: ProjectId, cap: u64) -> Result<u64> {
        self.0.count(Session::COLLECTION, "project_live", &[project.to_string().into(), 1.into()], cap).await
    }

    /// Where the same list goes on after a session of it.
    pub fn after(&self, project: ProjectId, filter: &SessionFilter, session: &Session) -> String {
        let key = vec![session.started_at.to_string().into()];
        binding(project, filter).encode(Position { key, id: session.id.to_string() })
    }

    /// The clusters that have live sessions: one look-up each.
    pub async fn live_clusters(&self) -> Result<Vec<String>> {
        let mut found: Vec<String> = Vec::new();
        loop {
            let mut scan =
                Scan { limit: 1, order: Order::Ascending, ..Scan::new(Session::COLLECTION, "live", Vec::new()) };
            scan.from = found.last().map(|last| Value::from(last.clone() + "\u{1}"));
            let Some(row) = self.0.scan(scan).await?.rows.into_iter().next() else { return Ok(found) };
            found.push(row.doc["live_cluster"].as_str().unwrap_or_default().to_owned());
        }
    }

    /// Up to `cap` live sessions of a cluster, after that of id `after`, in the order of their ids.
    pub async fn live(&self, cluster: &str, after: Option<SessionId>, cap: usize) -> Result<Vec<Session>> {
        let mut scan = Scan::new(Session::COLLECTION, "live", vec![cluster.into()]);
        scan.order = Order::Ascending;
        scan.limit = cap;
        scan.after = after.map(|id| Position { key: Vec::new(), id: id.to_string() });
        self.0.scan(scan).await?.rows.into_iter().map(Session::from_stored).collect()
    }
}

/// What cursors of a list of sessions are good for.
fn binding(project: ProjectId, filter: &SessionFilter) -> CursorBinding {
    CursorBinding::new("sessions", &(project, format!("{filter:?}")))
}

/// Reads metered spans.
#[derive(Clone, Debug)]
pub struct Intervals(pub SharedStore);

impl Intervals {
    /// The span of that kind and key on a cluster.
    pub async fn of_key(&self, cluster: &str, kind: &str, key: &str) -> Result<Option<Interval>> {
        get(&self.0, &Interval::id_of(cluster, kind, key).to_string()).await
    }

    /// A run of an ingress on a cluster: one that is on record, if any is.
    pub async fn run_of_ingress(&self, cluster: &str, ingress: &str) -> Result<Option<Interval>> {
        let mut scan =
            Scan { limit: 1, ..Scan::new(Interval::COLLECTION, "key", vec![cluster.into(), "ingress".into()]) };
        // The key of a run is the ingress's id, a slash, and the run; 0 is the character after the slash.
        scan.from = Some(format!("{ingress}/").into());
        scan.to = Some(format!("{ingress}0").into());
        self.0.scan(scan).await?.rows.into_iter().next().map(Interval::from_stored).transpose()
    }

    /// The spans of a session, up to [`MAX_SPANS`].
    pub async fn of_session(&self, session: SessionId) -> Result<Vec<Interval>> {
        all(&self.0, "session", vec![session.to_string().into()], MAX_SPANS).await
    }

    /// A page of the spans of a session, and where the next one begins: the way to all of them, however many there are.
    pub async fn page_of_session(
        &self,
        session: SessionId,
        after: Option<Position>,
    ) -> Result<(Vec<Interval>, Option<Position>)> {
        self.page("session", vec![session.to_string().into()], after).await
    }

    /// Up to `cap` open spans of a session.
    pub async fn some_open_in(&self, session: SessionId, cap: usize) -> Result<Vec<Interval>> {
        all(&self.0, "session_open", vec![session.to_string().into(), 1.into()], cap).await
    }

    /// All open spans of a session.
    pub async fn open_in(&self, session: SessionId) -> Result<Vec<Interval>> {
        self.every("session_open", vec![session.to_string().into(), 1.into()]).await
    }

    /// All open egresses and runs of ingresses on a cluster.
    pub async fn open_media(&self, cluster: &str) -> Result<Vec<Interval>> {
        let mut found = self.every("open", vec![cluster.into(), "egress".into()]).await?;
        found.extend(self.every("open", vec![cluster.into(), "ingress".into()]).await?);
        Ok(found)
    }

    /// Every span under a prefix of an index, read page by page.
    async fn every(&self, index: &'static str, prefix: Vec<Value>) -> Result<Vec<Interval>> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = self.page(index, prefix.clone(), after).await?;
            found.extend(page);
            match next {
                Some(next) => after = Some(next),
                None => return Ok(found),
            }
        }
    }

    async fn page(
        &self,
        index: &'static str,
        prefix: Vec<Value>,
        after: Option<Position>,
    ) -> Result<(Vec<Interval>, Option<Position>)> {
        let scan =
            Scan { limit: PAGE, order: Order::Ascending, after, ..Scan::new(Interval::COLLECTION, index, prefix) };
        let rows = self.0.scan(scan).await?;
        let page = rows.rows.into_iter().map(Interval::from_stored).collect::<Result<_>>()?;
        Ok((page, rows.next))
    }

    /// Up to `cap` open connections of an identity in a project.
    pub async fn open_of_identity(&self, project: ProjectId, identity: &str, cap: usize) -> Result<Vec<Interval>> {
        all(&self.0, "open_identity", vec![project.to_string().into(), identity.into()], cap).await
    }

    /// Up to `cap` open spans of a project that fit, of the [`MAX_SPANS`] oldest ones.
    pub async fn open_that(
        &self,
        project: ProjectId,
        fits: impl Fn(&Interval) -> bool,
        cap: usize,
    ) -> Result<Vec<Interval>> {
        let prefix = vec![project.to_string().into(), 1.into()];
        let mut scan =
            Scan { limit: PAGE, order: Order::Ascending, ..Scan::new(Interval::COLLECTION, "project_open", prefix) };
        let mut found = Vec::new();
        for _ in 0..MAX_SPANS / PAGE {
            let rows = self.0.scan(scan.clone()).await?;
            for row in rows.rows {
                found.extend(Some(Interval::from_stored(row)?).filter(|interval| fits(interval)));
            }
            match rows.next {
                Some(next) if found.len() < cap => scan.after = Some(next),
                _ => break,
            }
        }
        found.truncate(cap);
        Ok(found)
    }

    /// Up to `cap` open spans of a project.
    pub async fn open_of(&self, project: ProjectId, cap: usize) -> Result<Vec<Interval>> {
        all(&self.0, "project_open", vec![project.to_string().into(), 1.into()], cap).await
    }
}
