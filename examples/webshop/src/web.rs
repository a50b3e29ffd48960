//! The shop over HTTP: orders come in as a form or as JSON, and pages are told what becomes of them.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Form, FromRequest as _, Json, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use futures_util::stream;
use lovage::CancellationToken;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::form::{Problem, Wish};
use crate::journal::{JournalError, Placing};
use crate::mails;
use crate::order::{Order, euros};
use crate::page::{self, FormState};
use crate::shop::{PlaceError, Shop};

/// So many orders are on the page.
pub(crate) const SHOWN_MAX: usize = 50;
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Pages that can be told of changes at a time.
const PAGES_MAX: usize = 500;
const KEY_HEADER: &str = "idempotency-key";

struct Web {
    shop: Shop,
    mails: Option<PathBuf>,
    pages: Arc<Semaphore>,
    closing: CancellationToken,
}

/// The shop's routes. `mails` is the folder of a sink, to be shown. Streams end with `closing`.
pub fn router(shop: Shop, mails: Option<PathBuf>, closing: CancellationToken) -> Router {
    let web = Arc::new(Web {
        shop,
        mails,
        pages: Arc::new(Semaphore::new(PAGES_MAX)),
        closing,
    });
    Router::new()
        .route("/", get(home))
        // A failed form stands at this address: coming back to it is coming back to the shop.
        .route("/orders", post(order).get(async || Redirect::to("/")))
        .route("/orders/{id}", get(one))
        .route("/events", get(events))
        .route("/mails", get(mail_list))
        .route("/mails/{name}", get(mail))
        .route("/healthz", get(healthz))
        .route("/webshop.css", get(file("text/css", page::STYLE)))
        .route("/webshop.js", get(file("text/javascript", page::SCRIPT)))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::map_response(guarded))
        .with_state(web)
}

/// Nothing of what people type in becomes a script, even where an escape was forgotten.
async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let policy = "default-src 'self'; img-src data:; frame-ancestors 'none'; form-action 'self'; base-uri 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, value.parse().expect("the value is a constant"));
    }
    response
}

/// An order as pages and programs see it.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    id: String,
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) what: String,
    pub(crate) total: String,
    pub(crate) step: &'static str,
    pub(crate) receipt_sent: bool,
}

impl From<&Order> for View {
    fn from(order: &Order) -> Self {
        Self {
            id: order.id.clone(),
            number: order.number,
            name: order.name.clone(),
            what: format!("{} × {}", order.quantity, order.title()),
            total: euros(order.cents),
            step: order.step.name(),
            receipt_sent: order.receipt_sent,
        }
    }
}

#[derive(Deserialize)]
struct Shown {
    placed: Option<u64>,
}

async fn home(State(web): State<Arc<Web>>, Query(shown): Query<Shown>) -> Result<Response, Failed> {
    let state = FormState {
        placed: shown.placed,
        ..FormState::default()
    };
    rendered(&web, StatusCode::OK, state).await
}

async fn rendered(web: &Web, status: StatusCode, state: FormState) -> Result<Response, Failed> {
    let (orders, read) = web.shop.orders.latest(SHOWN_MAX).await?;
    let views: Vec<View> = orders.iter().map(View::from).collect();
    let page = page::home(&state, &views, read, web.mails.is_some());
    // The page holds a key: one that is kept and shown again must not be a new order.
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    Ok((status, no_store, Html(page)).into_response())
}

async fn order(State(web): State<Arc<Web>>, request: Request) -> Result<Response, Failed> {
    let key = request.headers().get(KEY_HEADER);
    let key = key.map(|key| key.to_str().unwrap_or_default().to_owned());
    match media_type(request.headers()) {
        "application/json" => match Json::<Wish>::from_request(request, &()).await {
            Ok(Json(wish)) => Ok(from_program(&web, key, &wish).await),
            Err(unreadable) => Ok(refused(unreadable.status(), &unreadable.body_text())),
        },
        "application/x-www-form-urlencoded" => {
            match Form::<Wish>::from_request(request, &()).await {
                Ok(Form(wish)) => from_form(&web, key, wish).await,
                Err(unreadable) => Ok(refused(unreadable.status(), &unreadable.body_text())),
            }
        }
        _ => Ok(refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "an order is application/json or application/x-www-form-urlencoded",
        )),
    }
}

/// Programs: the key is in the header.
async fn from_program(web: &Web, key: Option<String>, wish: &Wish) -> Response {
    let draft = match wish.check() {
        Ok(draft) => draft,
        Err(problems) => {
            let body = Json(json!({ "error": "the order cannot be taken", "problems": problems }));
            return (StatusCode::UNPROCESSABLE_ENTITY, body).into_response();
        }
    };
    match web.shop.place(&key.unwrap_or_default(), draft).await {
        Ok(placing) => {
            let (status, order) = match &placing {
                Placing::New(order) => (StatusCode::CREATED, order),
                Placing::Known(order) => (StatusCode::OK, order),
            };
            let location = [(header::LOCATION, format!("/orders/{}", order.id))];
            (status, location, Json(View::from(order))).into_response()
        }
        Err(error) => refused(status(&error), &error.to_string()),
    }
}

/// People: the key came with the form, and an answer is a page.
async fn from_form(web: &Web, key: Option<String>, wish: Wish) -> Result<Response, Failed> {
    let key = key.unwrap_or_else(|| wish.key.clone());
    let problem = |message: String| {
        let field = "form";
        vec![Problem { field, message }]
    };
    let (status, problems, key) = match wish.check() {
        // Nothing was taken: the key is still good.
        Err(problems) => (StatusCode::UNPROCESSABLE_ENTITY, problems, Some(key)),
        Ok(draft) => match web.shop.place(&key, draft).await {
            Ok(placing) => {
                let to = format!("/?placed={}", placing.order().number);
                return Ok((StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response());
            }
            Err(PlaceError::KeyUsed(order)) => {
                let text = format!(
                    "This page was sent before, as order {}. Send it again to order this as well.",
                    order.number
                );
                (StatusCode::UNPROCESSABLE_ENTITY, problem(text), None)
            }
            Err(PlaceError::BadKey) => {
                let text = "This page was incomplete. Send it again.".to_owned();
                (StatusCode::BAD_REQUEST, problem(text), None)
            }
            Err(error @ PlaceError::Send(_)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "an order waits");
                let text = "We have noted your order, and will start with it as soon as we can. \
                            You may send it again: it stays one order.";
                (status(&error), problem(text.to_owned()), Some(key))
            }
            Err(PlaceError::Journal(error)) => return Err(error.into()),
        },
    };
    let state = FormState {
        placed: None,
        key: key.filter(|key| !key.is_empty()),
        wish,
        problems,
    };
    rendered(web, status, state).await
}

fn status(error: &PlaceError) -> StatusCode {
    match error {
        PlaceError::BadKey => StatusCode::BAD_REQUEST,
        PlaceError::KeyUsed(_) => StatusCode::UNPROCESSABLE_ENTITY,
        PlaceError::Send(_) | PlaceError::Journal(JournalError::Full) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        PlaceError::Journal(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn media_type(headers: &HeaderMap) -> &'static str {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok()).unwrap_or("");
    let value = value.split(';').next().unwrap_or("").trim();
    ["application/json", "application/x-www-form-urlencoded"]
        .into_iter()
        .find(|known| value.eq_ignore_ascii_case(known))
        .unwrap_or("")
}

fn refused(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

async fn one(State(web): State<Arc<Web>>, Path(id): Path<String>) -> Result<Response, Failed> {
    let order = web.shop.orders.get(&id).await?;
    Ok(Json(View::from(&order)).into_response())
}

#[derive(Deserialize)]
struct After {
    after: Option<usize>,
}

/// Tells a page what becomes of orders, from the journal's line on up to which it was made: each event holds the
/// orders that changed, and its id is the line up to which it tells. A browser that lost its connection names the
/// last one by itself and misses nothing, also when another process of the shop answers.
async fn events(
    State(web): State<Arc<Web>>,
    Query(query): Query<After>,
    headers: HeaderMap,
) -> Response {
    let Ok(slot) = Arc::clone(&web.pages).try_acquire_owned() else {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open");
    };
    let last = headers.get("last-event-id");
    let last = last.and_then(|id| id.to_str().ok()?.parse().ok());
    let telling = Telling {
        read: last.or(query.after).unwrap_or(0),
        news: web.shop.orders.watch(),
        web,
        _slot: slot,
    };
    let told = stream::unfold(telling, |mut telling| async {
        let event = telling.next().await?;
        Some((Ok::<_, Infallible>(event), telling))
    });
    Sse::new(told)
        .keep_alive(KeepAlive::default())
        .into_response()
}

struct Telling {
    read: usize,
    news: tokio::sync::watch::Receiver<usize>,
    web: Arc<Web>,
    _slot: OwnedSemaphorePermit,
}

impl Telling {
    async fn next(&mut self) -> Option<Event> {
        loop {
            let (orders, read) = self.web.shop.orders.changed_since(self.read, SHOWN_MAX);
            self.read = read;
            if !orders.is_empty() {
                let views: Vec<View> = orders.iter().map(View::from).collect();
                let event = Event::default().id(read.to_string()).json_data(views);
                return event.ok();
            }
            tokio::select! {
                changed = self.news.changed() => changed.ok()?,
                () = self.web.closing.cancelled() => return None,
            }
        }
    }
}

async fn mail_list(State(web): State<Arc<Web>>) -> Result<Response, Failed> {
    let folder = web.mails.clone().ok_or(Failed::NotFound)?;
    let mails = mails::list(folder).await?;
    Ok(Html(page::mails(&mails)).into_response())
}

async fn mail(State(web): State<Arc<Web>>, Path(name): Path<String>) -> Result<Response, Failed> {
    let folder = web.mails.clone().ok_or(Failed::NotFound)?;
    let text = mails::read(folder, name).await?.ok_or(Failed::NotFound)?;
    let plain = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    Ok((plain, text).into_response())
}

/// Whether orders can be taken: they are kept even while the queue is away.
async fn healthz(State(web): State<Arc<Web>>) -> Result<&'static str, Failed> {
    web.shop.orders.latest(0).await?;
    Ok("well\n")
}

fn file(kind: &'static str, text: &'static str) -> impl IntoResponse + Clone {
    ([(header::CONTENT_TYPE, kind)], text)
}

/// Why there is no answer.
enum Failed {
    NotFound,
    Ours(anyhow::Error),
}

impl From<JournalError> for Failed {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::NoSuchOrder(_) => Self::NotFound,
            other => Self::Ours(other.into()),
        }
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::Ours(error.into())
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        match self {
            Self::NotFound => refused(StatusCode::NOT_FOUND, "there is nothing of this name"),
            Self::Ours(error) => {
                tracing::error!(error = format!("{error:#}"), "a request failed");
                refused(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "something is wrong on our side; try again later",
                )
            }
        }
    }
}
