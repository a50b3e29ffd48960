//! The order of an examination: the servers, all keys, then queue by queue, then the schedules.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use lovage_core::{
    Agenda, AgendaShelf, BrokerError, CHECKED_MAX, CheckMode, Checkup, Finding, FindingKind,
    LockKey, Passing, QueueName, StoredFrom, StoredPage, TaskId, WorkerId,
};

use super::{Doctor, Report};
use crate::any_broker::AnyBroker;

/// An examination under way.
pub(super) struct Round<'a> {
    pub(super) doctor: &'a Doctor,
    pub(super) report: Report,
    pub(super) mode: CheckMode,
    calls: u64,
    /// What there is, and who holds something there.
    queues: BTreeMap<QueueName, BTreeSet<WorkerId>>,
    /// Whether all processing lists were found: else a task may be in one of the others.
    pub(super) all_lists: bool,
    schedules: BTreeSet<Bytes>,
    outboxes: BTreeSet<Bytes>,
}

impl<'a> Round<'a> {
    pub(super) fn new(doctor: &'a Doctor) -> Self {
        let queues = doctor.queues.iter().cloned();
        Self {
            doctor,
            report: Report::default(),
            mode: doctor.mode,
            calls: 0,
            queues: queues.map(|queue| (queue, BTreeSet::new())).collect(),
            all_lists: false,
            schedules: BTreeSet::new(),
            outboxes: BTreeSet::new(),
        }
    }

    pub(super) async fn run(mut self) -> Result<Report, BrokerError> {
        self.look_at_servers().await?;
        self.walk().await;
        for (queue, workers) in std::mem::take(&mut self.queues) {
            let examined = self.examine(&queue, &workers).await;
            self.told(queue.as_str(), examined);
        }
        let examined = self.examine_schedules().await;
        self.told("schedules", examined);
        Ok(self.report)
    }

    /// What the servers say of themselves. Only the first call decides whether there is a broker at all.
    async fn look_at_servers(&mut self) -> Result<(), BrokerError> {
        let from = StoredFrom::default();
        if let Err(error @ (BrokerError::Unknown(_) | BrokerError::Refused(_))) =
            self.call(async |broker| broker.stored(from).await).await
        {
            return Err(error);
        }
        let servers = self.call(async |broker| broker.servers().await).await;
        let Some(servers) = self.told("servers", servers) else {
            return Ok(());
        };
        for server in &servers {
            for finding in server.findings() {
                self.report.note(finding);
            }
            for untold in &server.untold {
                let what = format!("{}: could not be looked at: {untold}", server.address);
                self.report.doubt(what);
            }
            // Each call would only wait out its deadline.
            if let Some(why) = server.refuses_writes()
                && self.repairs()
            {
                self.mode = CheckMode::Look;
                let what = format!("{}: nothing is repaired: {why}", server.address);
                self.report.doubt(what);
            }
        }
        self.report.servers = servers;
        Ok(())
    }

    /// One call to the broker, after the pause, unless there were enough.
    pub(super) async fn call<T>(
        &mut self,
        call: impl AsyncFn(&AnyBroker) -> Result<T, BrokerError>,
    ) -> Result<Option<T>, BrokerError> {
        if self.doctor.calls_max <= self.calls {
            return Ok(None);
        }
        if 0 < self.calls {
            tokio::time::sleep(self.doctor.pause).await;
        }
        self.calls += 1;
        let client = &self.doctor.client;
        client.within(|| call(client.broker())).await.map(Some)
    }

    pub(super) fn note(&mut self, kind: FindingKind, place: &str, what: String, repaired: bool) {
        self.report.note(Finding {
            kind,
            place: place.to_owned(),
            what,
            repaired,
        });
    }

    pub(super) fn repairs(&self) -> bool {
        self.mode == CheckMode::Repair
    }

    /// What came of it, unless it is to be told that nothing did.
    fn told<T>(&mut self, place: &str, came: Result<Option<T>, BrokerError>) -> Option<T> {
        match came {
            Ok(Some(came)) => return Some(came),
            Ok(None) => {
                let calls = self.doctor.calls_max;
                self.report
                    .doubt(format!("{place}: not all was looked at, in {calls} calls"));
            }
            Err(error) => self
                .report
                .doubt(format!("{place}: could not be looked at: {error}")),
        }
        None
    }

    fn is_wanted(&self, queue: &QueueName) -> bool {
        let wanted = &self.doctor.queues;
        let name = queue.as_str().split('#').next().unwrap_or_default();
        wanted.is_empty() || wanted.iter().any(|wanted| wanted.as_str() == name)
    }

    /// All keys.
    async fn walk(&mut self) {
        let mut from = StoredFrom::default();
        let mut walked: Vec<String> = Vec::new();
        let mut followed = true;
        loop {
            let page = self.call(async |broker| broker.stored(from).await).await;
            let Some(page) = self.told("keys", page) else {
                return;
            };
            let next = page.next;
            if walked.last() != Some(&page.server) && !page.server.is_empty() {
                // Behind its first page a walk stays where it began.
                followed &= from.cursor == 0;
                walked.push(page.server.clone());
            }
            self.keep(page).await;
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        let servers = self.report.servers.iter();
        let known: BTreeSet<&str> = servers.map(|server| server.address.as_str()).collect();
        if followed && walked.iter().map(String::as_str).collect::<BTreeSet<_>>() == known {
            self.all_lists = true;
        } else {
            let what = "keys: the servers changed meanwhile, some may not have been looked at";
            self.report.doubt(what.to_owned());
        }
    }

    /// Remembers what is looked at queue by queue, and looks at the rest.
    async fn keep(&mut self, page: StoredPage) {
        self.report.looked_at += page.looked_at;
        for queue in page.queues {
            if self.is_wanted(&queue) {
                self.queues.entry(queue).or_default();
            }
        }
        for (queue, worker) in page.lists {
            if let Some(workers) = self.queues.get_mut(&queue) {
                workers.insert(worker);
            }
        }
        for (of, ids) in [
            (Passing::Results, page.results),
            (Passing::Sends, page.sends),
        ] {
            for (queue, ids) in self.by_queue(ids) {
                let checked = self.check_passing(&queue, of, &ids).await;
                self.told(queue.as_str(), checked);
            }
        }
        for (queue, keys) in self.by_queue(page.locks) {
            let checked = self.check_locks(&queue, &keys, &[]).await;
            self.told(queue.as_str(), checked);
        }
        self.schedules.extend(page.histories);
        self.outboxes.extend(page.outboxes);
        for key in page.unknown {
            self.note(FindingKind::UnknownKey, "keys", key, false);
        }
    }

    fn by_queue<T>(&self, found: Vec<(QueueName, T)>) -> BTreeMap<QueueName, Vec<T>> {
        let mut sorted: BTreeMap<QueueName, Vec<T>> = BTreeMap::new();
        for (queue, thing) in found {
            if self.is_wanted(&queue) {
                sorted.entry(queue).or_default().push(thing);
            }
        }
        sorted
    }

    async fn check_passing(
        &mut self,
        queue: &QueueName,
        of: Passing,
        ids: &[TaskId],
    ) -> Result<Option<()>, BrokerError> {
        let mode = self.mode;
        let noun = match of {
            Passing::Results => "result of task",
            Passing::Sends => "idempotent send",
        };
        for ids in ids.chunks(CHECKED_MAX) {
            let call = async |broker: &AnyBroker| broker.lasting(queue, of, ids, mode).await;
            let Some(lasting) = self.call(call).await? else {
                return Ok(None);
            };
            for id in lasting {
                let (what, repaired) = (format!("{noun} {id}"), self.repairs());
                self.note(FindingKind::Lasting, queue.as_str(), what, repaired);
            }
        }
        Ok(Some(()))
    }

    /// Looks at keys of unique tasks, or at what is noted of the keys of `tasks`.
    pub(super) async fn check_locks(
        &mut self,
        queue: &QueueName,
        keys: &[LockKey],
        tasks: &[TaskId],
    ) -> Result<Option<()>, BrokerError> {
        let mode = self.mode;
        let parts = keys.chunks(CHECKED_MAX).map(|keys| (keys, &[][..]));
        let parts = parts.chain(tasks.chunks(CHECKED_MAX).map(|tasks| (&[][..], tasks)));
        for (keys, tasks) in parts {
            let call = async |broker: &AnyBroker| broker.locks(queue, keys, tasks, mode).await;
            let Some(found) = self.call(call).await? else {
                return Ok(None);
            };
            for finding in found {
                self.report.note(finding);
            }
        }
        Ok(Some(()))
    }

    async fn examine_schedules(&mut self) -> Result<Option<()>, BrokerError> {
        for shelf in [
            AgendaShelf::Versions,
            AgendaShelf::Records,
            AgendaShelf::Wakes,
            AgendaShelf::Names,
            AgendaShelf::Outboxes,
        ] {
            let mut from = 0;
            loop {
                let call = async |broker: &AnyBroker| broker.agenda_shelf(shelf, from).await;
                let Some(page) = self.call(call).await? else {
                    return Ok(None);
                };
                let names = match shelf {
                    AgendaShelf::Outboxes => &mut self.outboxes,
                    _ => &mut self.schedules,
                };
                names.extend(page.found);
                match page.next {
                    Some(next) => from = next,
                    None => break,
                }
            }
        }
        let mode = self.mode;
        let schedules: Vec<Bytes> = std::mem::take(&mut self.schedules).into_iter().collect();
        let outboxes: Vec<Bytes> = std::mem::take(&mut self.outboxes).into_iter().collect();
        for (of, names) in [(Agenda::Schedules, schedules), (Agenda::Outboxes, outboxes)] {
            self.report.looked_at += names.len() as u64;
            for names in names.chunks(CHECKED_MAX) {
                let call = async |broker: &AnyBroker| broker.agenda(of, names, mode).await;
                let Some(found) = self.call(call).await? else {
                    return Ok(None);
                };
                for finding in found {
                    self.report.note(finding);
                }
            }
        }
        Ok(Some(()))
    }
}
