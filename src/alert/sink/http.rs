//! Sinks that speak HTTP: a webhook, Slack's form, Alertmanager.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode, Uri};
use serde_json::{Value, json};

use super::{AlertSink, DeliveryError};
use crate::Error;
use crate::alert::notice::{Alert, Notice, NoticeKind};
use crate::health::Severity;
use crate::http_client::Client;
use crate::views::SubjectKind;

type Delivered<'a> = Pin<Box<dyn Future<Output = Result<(), DeliveryError>> + Send + 'a>>;

/// For how long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where to post. Its `Debug` shows the host only: paths of webhooks are secrets.
struct Endpoint {
    client: Client,
    url: Uri,
    headers: HeaderMap,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("host", &self.host()).finish_non_exhaustive()
    }
}

impl Endpoint {
    fn new(url: &str) -> Result<Self, Error> {
        let url: Uri = url.parse().map_err(|error| {
            Error::config(format!("the URL of an alert sink is none ({error}): expected http:// or https://"))
        })?;
        if !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none() {
            return Err(Error::config(format!(
                "the URL of an alert sink begins with {:?}: expected http:// or https:// and a host",
                url.scheme_str().unwrap_or("")
            )));
        }
        let client = Client::new(TIMEOUT)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(Self { client, url, headers })
    }

    fn host(&self) -> String {
        self.url.authority().map_or_else(String::new, |authority| {
            // Without a name and password before it.
            authority.as_str().rsplit('@').next().unwrap_or("").to_owned()
        })
    }

    fn header(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let name: HeaderName = name
            .parse()
            .map_err(|_| Error::config(format!("the header {name:?} of an alert sink is no header name")))?;
        let mut value: HeaderValue = value.parse().map_err(|_| {
            Error::config(format!(
                "the value of the header {name} of an alert sink has characters that no header may have"
            ))
        })?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(())
    }

    async fn post(&self, body: &Value) -> Result<(), DeliveryError> {
        let host = self.host();
        let answer = self
            .client
            .send(Method::POST, self.url.clone(), self.headers.clone(), body.to_string())
            .await
            .map_err(|why| DeliveryError::temporary(format!("{host}: {why}")))?;
        let status = answer.status;
        if status.is_success() {
            return Ok(());
        }
        let said = format!("{host} answered {status}");
        if status == StatusCode::TOO_MANY_REQUESTS
            || status == StatusCode::REQUEST_TIMEOUT
            || status.is_server_error()
        {
            let after = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            return Err(match after {
                Some(seconds) => DeliveryError::retry_after(said, Duration::from_secs(seconds)),
                None => DeliveryError::temporary(said),
            });
        }
        Err(DeliveryError::permanent(said))
    }
}

/// Posts each notice as JSON ([`Notice`]) to a URL.
#[derive(Debug)]
pub struct Webhook(Endpoint);

impl Webhook {
    /// Posts to this URL.
    ///
    /// # Errors
    /// A URL that is none ([`Error::is_config`]).
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Self(Endpoint::new(url)?))
    }

    /// With `Authorization: Bearer` and this token.
    ///
    /// # Errors
    /// A token with characters that no header may have ([`Error::is_config`]).
    pub fn bearer(mut self, token: &str) -> Result<Self, Error> {
        self.0.header(AUTHORIZATION.as_str(), &format!("Bearer {token}"))?;
        Ok(self)
    }

    /// With this header.
    ///
    /// # Errors
    /// A name or value that no header may have ([`Error::is_config`]).
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, Error> {
        self.0.header(name, value)?;
        Ok(self)
    }
}

impl AlertSink for Webhook {
    fn name(&self) -> &str {
        "webhook"
    }

    fn deliver<'a>(&'a mut self, notices: &'a [Notice]) -> Delivered<'a> {
        Box::pin(async move {
            for notice in notices {
                let body = serde_json::to_value(notice)
                    .map_err(|error| DeliveryError::permanent(error.to_string()))?;
                self.0.post(&body).await?;
            }
            Ok(())
        })
    }
}

/// Posts to an incoming webhook of Slack, or of whatever takes its form (Mattermost, Rocket.Chat, Discord with `/slack`).
#[derive(Debug)]
pub struct Slack(Endpoint);

impl Slack {
    /// Posts to this URL.
    ///
    /// # Errors
    /// A URL that is none ([`Error::is_config`]).
    pub fn new(url: &str) -> Result<Self, Error> {
        Ok(Self(Endpoint::new(url)?))
    }
}

fn slack(notice: &Notice) -> Value {
    let alert = &notice.alert;
    let color = match (notice.kind, notice.severity) {
        (NoticeKind::Resolved, _) => "#2eb886",
        (_, Severity::Critical) => "#a30200",
        (_, Severity::Error) => "#d9534f",
        (_, Severity::Warning) => "#daa038",
        _ => "#439fe0",
    };
    let field = |title: &str, value: String| json!({"title": title, "value": value, "short": true});
    let mut fields =
        vec![field("Severity", notice.severity.to_string()), field("Subject", alert.subject.to_string())];
    if let Some(error) = &alert.top_error {
        fields.push(field("Most errors", error.to_string()));
    }
    if let Some(trace) = alert.trace_ids.first() {
        fields.push(field("Trace", trace.clone()));
    }
    json!({
        "text": format!("[{}] {}", notice.kind.as_str(), notice.message),
        "attachments": [{
            "color": color,
            "title": &*alert.rule,
            "text": alert.advice,
            "fallback": notice.message,
            "fields": fields,
        }],
    })
}

impl AlertSink for Slack {
    fn name(&self) -> &str {
        "slack"
    }

    fn deliver<'a>(&'a mut self, notices: &'a [Notice]) -> Delivered<'a> {
        Box::pin(async move {
            for notice in notices {
                self.0.post(&slack(notice)).await?;
            }
            Ok(())
        })
    }
}

/// Posts alerts to an Alertmanager (`/api/v2/alerts`), again each minute as long as they fire, since it takes what it does
/// not hear of for five minutes as over.
#[derive(Debug)]
pub struct Alertmanager {
    endpoint: Endpoint,
    firing: BTreeMap<String, Value>,
}

impl Alertmanager {
    /// The address of an Alertmanager, e.g. `http://127.0.0.1:9093`.
    ///
    /// # Errors
    /// A URL that is none ([`Error::is_config`]).
    pub fn new(url: &str) -> Result<Self, Error> {
        let endpoint = Endpoint::new(&format!("{}/api/v2/alerts", url.trim_end_matches('/')))?;
        Ok(Self { endpoint, firing: BTreeMap::new() })
    }

    /// With this header, e.g. for authentication.
    ///
    /// # Errors
    /// A name or value that no header may have ([`Error::is_config`]).
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, Error> {
        self.endpoint.header(name, value)?;
        Ok(self)
    }
}

/// As Alertmanager takes it: names of labels have underscores, since dotted ones are refused by all but the newest.
fn alertmanager(alert: &Alert) -> Value {
    let mut labels = BTreeMap::from([
        ("alertname".to_owned(), alert.rule.to_string()),
        ("severity".to_owned(), alert.severity.to_string()),
        ("subject_kind".to_owned(), alert.subject.kind.to_string()),
    ]);
    let name = match alert.subject.kind {
        SubjectKind::Agent => "gen_ai_agent_name",
        SubjectKind::Model => "gen_ai_request_model",
        SubjectKind::Tool => "gen_ai_tool_name",
        _ => "subject",
    };
    if !alert.subject.name.is_empty() {
        labels.insert(name.to_owned(), alert.subject.name.to_string());
    }
    if let Some(agent) = &alert.subject.agent {
        labels.insert("gen_ai_agent_name".to_owned(), agent.to_string());
    }
    let underscored = |key: &str| -> String {
        key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
    };
    labels.extend(alert.labels.iter().map(|(key, value)| (underscored(key), value.clone())));
    let mut annotations = BTreeMap::from([
        ("summary", alert.summary.clone()),
        ("description", alert.advice.clone()),
        ("trace_ids", alert.trace_ids.join(" ")),
    ]);
    if let Some(error) = &alert.top_error {
        annotations.insert("top_error", error.to_string());
    }
    annotations.retain(|_, text| !text.is_empty());
    let time = |time| jiff::Timestamp::try_from(time).map(|time| time.to_string()).unwrap_or_default();
    let mut body = json!({
        "labels": labels,
        "annotations": annotations,
        "startsAt": time(alert.fired_at.unwrap_or(alert.since)),
        "generatorURL": "",
    });
    if let Some(resolved) = alert.resolved_at {
        body["endsAt"] = Value::String(time(resolved));
    }
    body
}

impl AlertSink for Alertmanager {
    fn name(&self) -> &str {
        "alertmanager"
    }

    fn repeats_after(&self) -> Option<Duration> {
        Some(Duration::from_secs(60))
    }

    fn deliver<'a>(&'a mut self, notices: &'a [Notice]) -> Delivered<'a> {
        Box::pin(async move {
            let mut body: BTreeMap<String, Value> = self.firing.clone();
            for notice in notices {
                let severity = notice.alert.severity;
                let id = &notice.alert.id;
                // Of another severity it is another alert there: the one before is over.
                body.retain(|key, _| !key.starts_with(id.as_str()));
                if let Some((key, mut before)) = self
                    .firing
                    .iter()
                    .find(|(key, _)| key.starts_with(id.as_str()))
                    .map(|(k, v)| (k.clone(), v.clone()))
                    && !key.ends_with(severity.as_str())
                {
                    let now = notice.alert.fired_at.unwrap_or(notice.alert.since);
                    before["endsAt"] = Value::String(
                        jiff::Timestamp::try_from(now).map(|now| now.to_string()).unwrap_or_default(),
                    );
                    body.insert(format!("{key} over"), before);
                }
                body.insert(format!("{id} {severity}"), alertmanager(&notice.alert));
            }
            if body.is_empty() {
                return Ok(());
            }
            let all: Vec<&Value> = body.values().collect();
            self.endpoint.post(&json!(all)).await?;
            body.retain(|_, alert| alert.get("endsAt").is_none());
            self.firing = body;
            Ok(())
        })
    }
}
