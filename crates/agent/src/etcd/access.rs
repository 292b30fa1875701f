//! etcd's users and roles: read, and brought in line with the ledger's nodes.

use std::collections::{BTreeMap, BTreeSet};

use etcd_client::{Client, Permission, RoleRevokePermissionOptions, UserAddOptions};
use palisade_ledger::NodeId;
use palisade_rights::{AccessStep, KeyRange, StoreAccess, access_plan};

use super::cluster::refused;
use super::error::EtcdError;

/// Brings users, roles and rights in line; gives what was changed, in words.
pub(super) async fn reconcile(
    client: &mut Client,
    nodes: &[NodeId],
    prefix: &str,
) -> Result<Vec<String>, EtcdError> {
    let found = observe(client).await?;
    let mut done = Vec::new();
    for step in access_plan(nodes, prefix, &found) {
        let told = tell(&step);
        execute(client, step).await?;
        if let Some(told) = told {
            tracing::info!("etcd: {told}");
            done.push(told);
        }
    }
    Ok(done)
}

/// etcd 3.4 does not tell whether it asks for rights: to say so again changes nothing.
async fn observe(client: &mut Client) -> Result<StoreAccess, EtcdError> {
    let mut access = StoreAccess::default();
    let users = client
        .user_list()
        .await
        .map_err(refused("list its users"))?;
    for user in users.users() {
        let found = client.user_get(user.as_str()).await;
        let found = found.map_err(refused("show a user"))?;
        let roles: BTreeSet<String> = found.roles().iter().cloned().collect();
        access.users.insert(user.clone(), roles);
    }
    let roles = client
        .role_list()
        .await
        .map_err(refused("list its roles"))?;
    let mut found_roles = BTreeMap::new();
    for role in roles.roles() {
        let found = client.role_get(role.as_str()).await;
        let found = found.map_err(refused("show a role"))?;
        let rights = found.permissions().into_iter().map(|right| KeyRange {
            key: right.key().to_vec(),
            range_end: right.range_end().to_vec(),
        });
        found_roles.insert(role.clone(), rights.collect());
    }
    access.roles = found_roles;
    Ok(access)
}

async fn execute(client: &mut Client, step: AccessStep) -> Result<(), EtcdError> {
    match step {
        AccessStep::DeleteUser(user) => {
            let done = client.user_delete(user).await;
            done.map(drop).map_err(refused("delete a user"))
        }
        AccessStep::DeleteRole(role) => {
            let done = client.role_delete(role).await;
            done.map(drop).map_err(refused("delete a role"))
        }
        AccessStep::AddRole(role) => {
            let done = client.role_add(role).await;
            done.map(drop).map_err(refused("make a role"))
        }
        AccessStep::Grant(role, range) => {
            let right = Permission::read_write(range.key).with_range_end(range.range_end);
            let done = client.role_grant_permission(role, right).await;
            done.map(drop).map_err(refused("grant a right"))
        }
        AccessStep::Revoke(role, range) => {
            let options = RoleRevokePermissionOptions::new().with_range_end(range.range_end);
            let done = client
                .role_revoke_permission(role, range.key, Some(options))
                .await;
            done.map(drop).map_err(refused("take a right away"))
        }
        AccessStep::AddUser(user) => {
            let options = UserAddOptions::new().with_no_pwd();
            let done = client.user_add(user, "", Some(options)).await;
            done.map(drop).map_err(refused("make a user"))
        }
        AccessStep::AddToRole { user, role } => {
            let done = client.user_grant_role(user, role).await;
            done.map(drop).map_err(refused("give a user its role"))
        }
        AccessStep::TakeFromRole { user, role } => {
            let done = client.user_revoke_role(user, role).await;
            done.map(drop).map_err(refused("take a role away"))
        }
        AccessStep::Enable => {
            let done = client.auth_enable().await;
            done.map(drop)
                .map_err(refused("switch its access control on"))
        }
    }
}

fn tell(step: &AccessStep) -> Option<String> {
    match step {
        AccessStep::DeleteUser(user) => Some(format!("user {user} deleted")),
        AccessStep::DeleteRole(role) => Some(format!("role {role} deleted")),
        AccessStep::AddRole(role) => Some(format!("role {role} made")),
        AccessStep::Grant(role, _) => Some(format!("role {role} may use the ledger's prefix")),
        AccessStep::Revoke(role, range) => Some(format!(
            "role {role} may no longer use {}",
            String::from_utf8_lossy(&range.key)
        )),
        AccessStep::AddUser(user) => Some(format!("user {user} made")),
        AccessStep::AddToRole { user, role } => Some(format!("user {user} has the role {role}")),
        AccessStep::TakeFromRole { user, role } => {
            Some(format!("user {user} lost the role {role}"))
        }
        AccessStep::Enable => None,
    }
}
