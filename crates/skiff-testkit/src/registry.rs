//! A registry in memory, whose every answer a test can replace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::image::digest;
use crate::{HttpAnswer, HttpRequest, HttpServer, OciLayout};

/// What replaces an answer, where it wants to: it is told of the requests before this one, too.
type Script = dyn Fn(&HttpRequest, &[HttpRequest]) -> Option<HttpAnswer> + Send + Sync;

/// A registry on loopback that speaks plain HTTP and keeps everything in memory. Ends when it is dropped.
#[derive(Debug)]
pub struct TestRegistry {
    state: Arc<Mutex<State>>,
    server: HttpServer,
}

/// What a registry has, and can.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// Whether it has the referrers API: those of an image, on pages of so many.
    pub referrers_page: Option<usize>,
    /// What it does with an upload one of whose requests was cut.
    pub cut_uploads: CutUploads,
}

/// What becomes of an upload that was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CutUploads {
    /// What came is kept.
    #[default]
    Kept,
    /// What came with the request that was cut is forgotten.
    Forgotten,
    /// The upload cannot be found again, as in docker's registry 2.8.
    Lost,
}

#[derive(Debug, Default)]
struct State {
    options: RegistryOptions,
    blobs: BTreeMap<String, Vec<u8>>,
    /// By repository and tag or digest: media type and bytes.
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    uploads: BTreeMap<String, Vec<u8>>,
    uploads_begun: u64,
    requests: Vec<HttpRequest>,
}

impl TestRegistry {
    /// Begins to answer, as registries do.
    #[must_use]
    pub fn start(options: RegistryOptions) -> Self {
        Self::scripted(options, |_, _| None)
    }

    /// Begins to answer, but where the script does.
    #[must_use]
    pub fn scripted(
        options: RegistryOptions,
        script: impl Fn(&HttpRequest, &[HttpRequest]) -> Option<HttpAnswer> + Send + Sync + 'static,
    ) -> Self {
        let state = Arc::new(Mutex::new(State { options, ..State::default() }));
        let shared = Arc::clone(&state);
        let script: Box<Script> = Box::new(script);
        let server = HttpServer::start(move |request| {
            let mut state = lock(&shared);
            let answer = script(request, &state.requests);
            state.requests.push(request.clone());
            answer.unwrap_or_else(|| state.answer(request))
        });
        Self { state, server }
    }

    /// `127.0.0.1:PORT`
    #[must_use]
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// Puts the images of a layout into a repository, under the tags they have there.
    pub fn put_layout(&self, repository: &str, layout: &OciLayout) {
        let mut state = lock(&self.state);
        let files = layout.files();
        let index: Value = serde_json::from_slice(&files["index.json"]).expect("an index");
        for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with("blobs/")) {
            let digest = name.replacen("blobs/sha256/", "sha256:", 1);
            state.blobs.insert(digest.clone(), bytes.clone());
            let document = serde_json::from_slice::<Value>(bytes).ok();
            if let Some(kind) = document.as_ref().and_then(|document| document["mediaType"].as_str()) {
                state.manifests.insert((repository.into(), digest), (kind.into(), bytes.clone()));
            }
        }
        for manifest in index["manifests"].as_array().expect("manifests") {
            let tag = manifest["annotations"]["org.opencontainers.image.ref.name"].as_str();
            let (Some(tag), Some(digest)) = (tag, manifest["digest"].as_str()) else { continue };
            let found = state.manifests[&(repository.into(), digest.into())].clone();
            state.manifests.insert((repository.into(), tag.into()), found);
        }
    }

    /// The requests that came in so far.
    #[must_use]
    pub fn requests(&self) -> Vec<HttpRequest> {
        lock(&self.state).requests.clone()
    }

    /// The bytes of a blob.
    #[must_use]
    pub fn blob(&self, digest: &str) -> Option<Vec<u8>> {
        lock(&self.state).blobs.get(digest).cloned()
    }

    /// The bytes of a manifest, by its tag or digest.
    #[must_use]
    pub fn manifest(&self, repository: &str, version: &str) -> Option<Vec<u8>> {
        lock(&self.state).manifests.get(&(repository.into(), version.into())).map(|(_, bytes)| bytes.clone())
    }

    /// Puts a manifest there.
    pub fn put_manifest(&self, repository: &str, version: &str, media_type: &str, bytes: &[u8]) {
        lock(&self.state).put_manifest(repository, version, (media_type.into(), bytes.to_vec()));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl State {
    fn answer(&mut self, request: &HttpRequest) -> HttpAnswer {
        let path = request.path.strip_prefix("/v2/").unwrap_or_default().to_owned();
        for (kind, answer) in [
            ("/blobs/uploads/", Self::upload as fn(&mut Self, &HttpRequest, &str, &str) -> HttpAnswer),
            ("/blobs/", Self::get_blob),
            ("/manifests/", Self::manifest),
            ("/referrers/", Self::referrers),
        ] {
            if let Some((repository, rest)) = path.split_once(kind) {
                return answer(self, request, repository, rest);
            }
        }
        HttpAnswer::new(404)
    }

    fn get_blob(&mut self, request: &HttpRequest, _: &str, digest: &str) -> HttpAnswer {
        let Some(blob) = self.blobs.get(digest) else { return missing("BLOB_UNKNOWN") };
        let start = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        match start.map(|start| start.parse::<usize>().expect("a range")) {
            None => HttpAnswer::new(200).body(blob.clone()),
            Some(start) if start >= blob.len() => HttpAnswer::new(416),
            Some(start) => {
                let range = format!("bytes {start}-{}/{}", blob.len() - 1, blob.len());
                HttpAnswer::new(206).header("content-range", range).body(&blob[start..])
            }
        }
    }

    fn manifest(&mut self, request: &HttpRequest, repository: &str, version: &str) -> HttpAnswer {
        if request.method == "PUT" {
            let kind = request.header("content-type").unwrap_or_default().to_owned();
            let found = digest(&request.body);
            let manifest = serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
            self.put_manifest(repository, version, (kind, request.body.clone()));
            let answer = HttpAnswer::new(201).header("docker-content-digest", found);
            return match manifest["subject"]["digest"].as_str() {
                Some(subject) if self.options.referrers_page.is_some() => {
                    answer.header("oci-subject", subject)
                }
                _ => answer,
            };
        }
        match self.manifests.get(&(repository.into(), version.into())) {
            Some((kind, bytes)) => HttpAnswer::new(200).header("content-type", kind).body(bytes.clone()),
            None => missing("MANIFEST_UNKNOWN"),
        }
    }

    fn put_manifest(&mut self, repository: &str, version: &str, manifest: (String, Vec<u8>)) {
        self.manifests.insert((repository.into(), digest(&manifest.1)), manifest.clone());
        self.manifests.insert((repository.into(), version.into()), manifest);
    }

    fn referrers(&mut self, request: &HttpRequest, repository: &str, subject: &str) -> HttpAnswer {
        let Some(page) = self.options.referrers_page else { return HttpAnswer::new(404) };
        let mut found = Vec::new();
        for ((place, version), (kind, bytes)) in &self.manifests {
            let manifest: Value = serde_json::from_slice(bytes).unwrap_or_default();
            if place == repository
                && version.starts_with("sha256:")
                && manifest["subject"]["digest"] == subject
            {
                found.push(json!({
                    "mediaType": kind, "digest": version, "size": bytes.len(),
                    "artifactType": manifest["artifactType"], "annotations": manifest["annotations"],
                }));
            }
        }
        let start = request.query("from").and_then(|from| from.parse().ok()).unwrap_or(0);
        let end = found.len().min(start + page);
        let kind = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": kind, "manifests": found[start..end] });
        let answer = HttpAnswer::new(200).header("content-type", kind).body(index.to_string());
        if end == found.len() {
            return answer;
        }
        answer.header("link", format!("<{}?from={end}>; rel=\"next\"", request.path))
    }

    fn upload(&mut self, request: &HttpRequest, repository: &str, id: &str) -> HttpAnswer {
        let location = |id: &str| format!("/v2/{repository}/blobs/uploads/{id}");
        let status = |status, id: &str, size: usize| {
            let answer = HttpAnswer::new(status).header("location", location(id));
            // Docker's registry says the same of one byte and of none.
            answer.header("range", format!("0-{}", size.saturating_sub(1)))
        };
        if request.method == "POST" {
            if let Some(mounted) = request.query("mount").filter(|mounted| self.blobs.contains_key(mounted)) {
                return HttpAnswer::new(201).header("location", format!("/v2/{repository}/blobs/{mounted}"));
            }
            self.uploads_begun += 1;
            let id = format!("upload-{}", self.uploads_begun);
            self.uploads.insert(id.clone(), Vec::new());
            return status(202, &id, 0);
        }
        if request.is_cut && self.options.cut_uploads == CutUploads::Lost {
            self.uploads.remove(id);
        }
        let forgets = self.options.cut_uploads == CutUploads::Forgotten;
        let Some(upload) = self.uploads.get_mut(id) else { return missing("BLOB_UPLOAD_UNKNOWN") };
        let start = request.header("content-range").and_then(|range| range.split_once('-')?.0.parse().ok());
        if start.is_some_and(|start: usize| start != upload.len()) {
            return status(416, id, upload.len());
        }
        if !(request.is_cut && forgets) {
            upload.extend_from_slice(&request.body);
        }
        match &request.method[..] {
            "GET" => status(204, id, upload.len()),
            "PATCH" => status(202, id, upload.len()),
            "PUT" if request.query("digest") == Some(digest(upload)) => {
                let blob = self.uploads.remove(id).expect("the upload");
                let named = digest(&blob);
                self.blobs.insert(named.clone(), blob);
                HttpAnswer::new(201).header("location", format!("/v2/{repository}/blobs/{named}"))
            }
            "PUT" => error(400, "DIGEST_INVALID"),
            _ => HttpAnswer::new(405),
        }
    }
}

fn missing(code: &str) -> HttpAnswer {
    error(404, code)
}

fn error(status: u16, code: &str) -> HttpAnswer {
    let body = json!({ "errors": [{ "code": code, "message": "scripted" }] });
    HttpAnswer::new(status).header("content-type", "application/json").body(body.to_string())
}
