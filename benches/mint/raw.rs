//! The bare signatures that mints are compared with.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

use crate::{Measured, cores};

/// As long as the signing input of the mint that is measured.
const MESSAGE: [u8; 420] = [b'x'; 420];

/// CPU of one signature by aws-lc-rs on one thread.
pub(crate) fn software(algorithm: &str, time: Duration) -> Duration {
    let random = SystemRandom::new();
    if algorithm == "RS256" {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let mut signature = vec![0; key.public_modulus_len()];
        each(time, || {
            key.sign(&RSA_PKCS1_SHA256, &random, &MESSAGE, &mut signature)
                .unwrap()
        })
    } else {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        each(time, || {
            key.sign(&random, &MESSAGE).unwrap();
        })
    }
}

/// CPU, not time: other programs may want the processor meanwhile.
fn each(time: Duration, mut sign: impl FnMut()) -> Duration {
    let (before, start, mut count) = (own_cpu(), Instant::now(), 0_u32);
    while start.elapsed() < time {
        sign();
        count += 1;
    }
    (own_cpu() - before) / count
}

/// In a process of its own, because SOFTHSM2_CONF is read once per process:
/// `raw-c-sign MODULE TOKEN PIN ALGORITHM MILLISECONDS` prints nanoseconds of CPU a signature and signatures a second.
pub(crate) fn c_sign_child(arguments: &[String]) {
    let [module, token, pin, algorithm, time] = arguments else {
        panic!("raw-c-sign MODULE TOKEN PIN ALGORITHM MILLISECONDS");
    };
    let measured = c_sign(
        module,
        token,
        pin,
        algorithm,
        Duration::from_millis(time.parse().unwrap()),
    );
    println!("{} {}", measured.cpu.as_nanos(), measured.per_second);
}

fn c_sign(module: &str, token: &str, pin: &str, algorithm: &str, time: Duration) -> Measured {
    let pkcs11 = Pkcs11::new(module).unwrap();
    pkcs11
        .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
        .unwrap();
    let slots = pkcs11.get_slots_with_initialized_token().unwrap();
    let named =
        |slot: &cryptoki::slot::Slot| pkcs11.get_token_info(*slot).unwrap().label() == token;
    let slot = slots.into_iter().find(named).unwrap();
    let anchor = pkcs11.open_ro_session(slot).unwrap();
    anchor
        .login(UserType::User, Some(&AuthPin::new(pin.into())))
        .unwrap();
    let kind = if algorithm == "RS256" {
        KeyType::RSA
    } else {
        KeyType::EC
    };
    let wanted = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(kind),
    ];
    let key = anchor.find_objects(&wanted).unwrap()[0];
    let (count, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (before, start) = (own_cpu(), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..cores() as usize {
            let session = pkcs11.open_ro_session(slot).unwrap();
            let (count, stop) = (&count, &stop);
            scope.spawn(move || {
                // SoftHSM2 has no CKM_ECDSA_SHA256: it signs a hash.
                let (mechanism, message) = if kind == KeyType::RSA {
                    (Mechanism::Sha256RsaPkcs, &MESSAGE[..])
                } else {
                    (Mechanism::Ecdsa, &MESSAGE[..32])
                };
                while !stop.load(Ordering::Relaxed) {
                    session.sign(&mechanism, key, message).unwrap();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    let count = count.load(Ordering::Relaxed);
    Measured {
        cpu: (own_cpu() - before) / u32::try_from(count).unwrap(),
        per_second: count as f64 / start.elapsed().as_secs_f64(),
    }
}

fn own_cpu() -> Duration {
    crate::service::cpu_of(std::process::id())
}
