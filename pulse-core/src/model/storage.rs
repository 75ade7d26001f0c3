//! Where recordings go: a storage target, and its credentials, which go in and never come out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::HttpUrl;
use crate::{access::seal::Sealed, error::Fault, secret::SecretText};

/// The kind of object storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum StorageKind {
    /// Amazon S3 and what speaks like it.
    S3,
    /// Cloudflare R2.
    R2,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

/// A storage target as it comes in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StorageInput {
    /// The kind.
    pub kind: StorageKind,
    /// The bucket, or container.
    #[schemars(length(min = 1, max = 255))]
    pub bucket: String,
    /// The storage's own region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    pub region: Option<String>,
    /// The endpoint, for what is not Amazon's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<HttpUrl>,
    /// What every object's name begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub prefix: Option<String>,
    /// Whether the bucket stands in the path instead of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force_path_style: Option<bool>,
    /// Where viewers get the objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cdn_base_url: Option<HttpUrl>,
    /// For s3 and r2. Never returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<SecretText>,
    /// For s3 and r2. Never returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<SecretText>,
    /// For gcs: the service account's JSON as a text. Never returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretText>,
    /// For azure. Never returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_name: Option<SecretText>,
    /// For azure. Never returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_key: Option<SecretText>,
}

/// The credentials of a target, as they are sealed.
#[derive(Serialize, Deserialize)]
#[expect(missing_debug_implementations, reason = "holds secrets")]
pub struct StorageCredentials {
    /// For s3 and r2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<SecretText>,
    /// For s3 and r2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<SecretText>,
    /// For gcs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<SecretText>,
    /// For azure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_name: Option<SecretText>,
    /// For azure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_key: Option<SecretText>,
}

/// A storage target as it is stored and, without `credentials`, shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageConfig {
    /// The kind.
    pub kind: StorageKind,
    /// The bucket, or container.
    pub bucket: String,
    /// The storage's own region.
    pub region: Option<String>,
    /// The endpoint.
    pub endpoint: Option<HttpUrl>,
    /// What every object's name begins with.
    pub prefix: Option<String>,
    /// Whether the bucket stands in the path.
    pub force_path_style: bool,
    /// Where viewers get the objects.
    pub cdn_base_url: Option<HttpUrl>,
    /// The sealed credentials.
    pub credentials: Sealed,
}

/// A storage target as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StorageView {
    /// The kind.
    pub kind: StorageKind,
    /// The bucket, or container.
    pub bucket: String,
    /// The storage's own region.
    pub region: Option<String>,
    /// The endpoint.
    pub endpoint: Option<HttpUrl>,
    /// What every object's name begins with.
    pub prefix: Option<String>,
    /// Whether the bucket stands in the path.
    pub force_path_style: bool,
    /// Where viewers get the objects.
    pub cdn_base_url: Option<HttpUrl>,
    /// Whether anything uses it yet.
    pub active: bool,
}

impl StorageInput {
    /// Every fault of the combination of fields, under the field `at`.
    pub fn faults(&self, at: &str) -> Vec<Fault> {
        let has = [
            ("access_key_id", self.access_key_id.is_some(), &[StorageKind::S3, StorageKind::R2][..]),
            ("secret_access_key", self.secret_access_key.is_some(), &[StorageKind::S3, StorageKind::R2]),
            ("credentials", self.credentials.is_some(), &[StorageKind::Gcs]),
            ("account_name", self.account_name.is_some(), &[StorageKind::Azure]),
            ("account_key", self.account_key.is_some(), &[StorageKind::Azure]),
        ];
        let mut faults = Vec::new();
        for (field, present, kinds) in has {
            let wanted = kinds.contains(&self.kind);
            if present != wanted {
                let (code, detail) = if wanted {
                    ("required", "is required for this kind of storage")
                } else {
                    ("not_allowed", "does not belong to this kind of storage")
                };
                faults.push(Fault::new(format!("{at}.{field}"), code, detail));
            }
        }
        if self.kind == StorageKind::R2 && self.endpoint.is_none() {
            faults.push(Fault::new(
                format!("{at}.endpoint"),
                "required",
                "is required for r2: https://<account>.r2.cloudflarestorage.com",
            ));
        }
        faults
    }

    /// The credentials of the request.
    pub fn credentials(&self) -> StorageCredentials {
        StorageCredentials {
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone(),
            credentials: self.credentials.clone(),
            account_name: self.account_name.clone(),
            account_key: self.account_key.clone(),
        }
    }

    /// What is stored, with the sealed credentials.
    pub fn sealed(self, credentials: Sealed) -> StorageConfig {
        let force_path_style = self.force_path_style.unwrap_or(self.kind == StorageKind::R2);
        let Self { kind, bucket, region, endpoint, prefix, cdn_base_url, .. } = self;
        StorageConfig { kind, bucket, region, endpoint, prefix, force_path_style, cdn_base_url, credentials }
    }
}

impl StorageConfig {
    /// What a caller sees. Nothing writes to storage yet, so it is not active.
    pub fn view(&self) -> StorageView {
        let Self { kind, bucket, region, endpoint, prefix, force_path_style, cdn_base_url, .. } = self.clone();
        StorageView { kind, bucket, region, endpoint, prefix, force_path_style, cdn_base_url, active: false }
    }
}
