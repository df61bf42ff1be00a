//! cert-manager in the place of the operator's own certificates.

use std::str::FromStr;

use crate::certificates::Rotation;

/// Who makes the certificates of all stacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertManager {
    pub(crate) signer: Signer,
    pub(crate) rotation: Rotation,
}

/// Who signs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signer {
    /// An authority of each stack's own.
    Own,
    /// An issuer that others have made.
    Given { kind: &'static str, name: String },
}

/// What is no signer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CERT_MANAGER_ISSUER: `{0}`, expected own, Issuer/NAME or ClusterIssuer/NAME")]
pub(crate) struct UnknownSigner(String);

impl FromStr for Signer {
    type Err = UnknownSigner;

    fn from_str(text: &str) -> Result<Self, UnknownSigner> {
        let given = |kind, name: &str| Self::Given { kind, name: name.to_owned() };
        match text.split_once('/') {
            None if text == "own" => Ok(Self::Own),
            Some(("Issuer", name)) if !name.is_empty() => Ok(given("Issuer", name)),
            Some(("ClusterIssuer", name)) if !name.is_empty() => Ok(given("ClusterIssuer", name)),
            _ => Err(UnknownSigner(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signer_is_the_stack_s_own_or_an_issuer_by_kind_and_name() {
        assert_eq!("own".parse(), Ok(Signer::Own));
        assert_eq!(
            "ClusterIssuer/corp".parse(),
            Ok(Signer::Given { kind: "ClusterIssuer", name: "corp".to_owned() })
        );
        for wrong in ["corp", "Issuer/", "Secret/x", ""] {
            assert_eq!(wrong.parse::<Signer>(), Err(UnknownSigner(wrong.to_owned())));
        }
    }
}
