//! The handler, with every method asked about. None is left to the trait's own defaults: what is not handed on would be a
//! capability that the handler has and the guard has not.

#![expect(deprecated, reason = "clients of revisions before 2026-07-28 call what is")]

use std::{borrow::Cow, sync::Arc};

use palisade_client::GatewayPoint;
use palisade_mcp::Listing;
use rmcp::{
    RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CancelTaskParams, CancelledNotificationParam,
        CompleteRequestParams, CompleteResult, CustomNotification, CustomRequest, CustomResult,
        DiscoverResult, ErrorData, GetPromptRequestParams, GetPromptResponse, GetSkillRequestParams,
        GetSkillResult, GetTaskParams, GetTaskResult, InitializeRequestParams, InitializeResult,
        ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListSkillsResult,
        ListToolsResult, PaginatedRequestParams, ProgressNotificationParam, ProtocolVersion,
        ReadResourceDirectoryRequestParams, ReadResourceDirectoryResult, ReadResourceRequestParams,
        ReadResourceResponse, ServerConfig, SetLevelRequestParams, SubscribeRequestParams,
        SubscriptionFilter, Tool, UnsubscribeRequestParams, UpdateTaskParams,
    },
    service::{NotificationContext, RequestContext, SubscriptionContext},
};
use serde_json::json;

use crate::gate::{self, Gate};

type Context = RequestContext<RoleServer>;

/// A handler that gets only what is permitted.
#[derive(Debug, Clone)]
pub struct Guarded<H> {
    handler: H,
    gate: Arc<Gate>,
}

impl<H> Guarded<H> {
    /// A handler of which this decision point is asked about this resource of its configuration.
    pub fn new(handler: H, point: impl GatewayPoint + 'static, resource: impl Into<String>) -> Self {
        Self::with(handler, Arc::new(point), resource)
    }

    /// The same with a decision point that others hold, too.
    pub fn with(handler: H, point: Arc<dyn GatewayPoint>, resource: impl Into<String>) -> Self {
        Self { handler, gate: Arc::new(Gate { point, resource: resource.into() }) }
    }
}

/// Methods that are asked about and handed on as they came.
macro_rules! handed_on {
    ($($name:ident, $method:literal, $params:ty => $result:ty;)*) => {$(
        async fn $name(&self, params: $params, mut context: Context) -> Result<$result, ErrorData> {
            self.gate.admit($method, &params, &mut context).await?;
            self.handler.$name(params, context).await
        }
    )*};
}

/// Lists, which are asked about and cut.
macro_rules! cut {
    ($($name:ident, $listing:expr => $result:ty;)*) => {$(
        async fn $name(&self, page: Option<PaginatedRequestParams>, mut context: Context) -> Result<$result, ErrorData> {
            let admitted = self.gate.admit($listing.method(), &page, &mut context).await?;
            let list = self.handler.$name(page, context).await?;
            self.gate.cut(&admitted, $listing, list).await
        }
    )*};
}

/// Methods about a task, whose handle becomes the handler's own.
macro_rules! about_tasks {
    ($($name:ident, $method:literal, $params:ty => $result:ty;)*) => {$(
        async fn $name(&self, params: $params, mut context: Context) -> Result<$result, ErrorData> {
            let admitted = self.gate.admit($method, &params, &mut context).await?;
            self.handler.$name(admitted.params()?, context).await
        }
    )*};
}

/// Notifications, which are heard where they are permitted.
macro_rules! heard {
    ($($name:ident, $method:literal, $params:ty;)*) => {$(
        async fn $name(&self, params: $params, mut context: NotificationContext<RoleServer>) {
            if self.gate.hears($method, &params, &mut context.extensions).await {
                self.handler.$name(params, context).await;
            }
        }
    )*};
}

impl<H: ServerHandler> ServerHandler for Guarded<H> {
    handed_on! {
        initialize, "initialize", InitializeRequestParams => InitializeResult;
        complete, "completion/complete", CompleteRequestParams => CompleteResult;
        set_level, "logging/setLevel", SetLevelRequestParams => ();
        get_prompt, "prompts/get", GetPromptRequestParams => GetPromptResponse;
        read_resource, "resources/read", ReadResourceRequestParams => ReadResourceResponse;
        list_skills, "skills/list", Option<PaginatedRequestParams> => ListSkillsResult;
        get_skill, "skills/get", GetSkillRequestParams => GetSkillResult;
        read_resource_directory, "resources/directory/read", ReadResourceDirectoryRequestParams => ReadResourceDirectoryResult;
    }

    cut! {
        list_tools, Listing::Tools => ListToolsResult;
        list_prompts, Listing::Prompts => ListPromptsResult;
        list_resources, Listing::Resources => ListResourcesResult;
        list_resource_templates, Listing::Templates => ListResourceTemplatesResult;
    }

    about_tasks! {
        update_task, "tasks/update", UpdateTaskParams => ();
        cancel_task, "tasks/cancel", CancelTaskParams => ();
    }

    heard! {
        on_cancelled, "notifications/cancelled", CancelledNotificationParam;
        on_progress, "notifications/progress", ProgressNotificationParam;
    }

    async fn ping(&self, mut context: Context) -> Result<(), ErrorData> {
        self.gate.admit("ping", &json!({}), &mut context).await?;
        self.handler.ping(context).await
    }

    async fn discover(&self, mut context: Context) -> Result<DiscoverResult, ErrorData> {
        self.gate.admit("server/discover", &json!({}), &mut context).await?;
        self.handler.discover(context).await
    }

    async fn get_task(
        &self,
        params: GetTaskParams,
        mut context: Context,
    ) -> Result<GetTaskResult, ErrorData> {
        let admitted = self.gate.admit("tasks/get", &params, &mut context).await?;
        let task = self.handler.get_task(admitted.params()?, context).await?;
        // Its client knows it by the handle that it was given.
        gate::called(task, &params.task_id)
    }

    async fn call_tool(
        &self,
        call: CallToolRequestParams,
        mut context: Context,
    ) -> Result<CallToolResponse, ErrorData> {
        let admitted = self.gate.admit("tools/call", &call, &mut context).await?;
        let tool = call.name.clone();
        let mut response = self.handler.call_tool(call, context).await?;
        if let CallToolResponse::Task(begun) = &mut response {
            begun.task.task_id = self.gate.bind(&admitted, &tool, &begun.task.task_id).await?;
        }
        Ok(response)
    }

    async fn subscribe(&self, params: SubscribeRequestParams, mut context: Context) -> Result<(), ErrorData> {
        self.gate.admit("resources/subscribe", &params, &mut context).await?;
        self.handler.subscribe(params, context).await
    }

    async fn unsubscribe(
        &self,
        params: UnsubscribeRequestParams,
        mut context: Context,
    ) -> Result<(), ErrorData> {
        self.gate.admit("resources/unsubscribe", &params, &mut context).await?;
        self.handler.unsubscribe(params, context).await
    }

    async fn on_custom_request(
        &self,
        mut request: CustomRequest,
        mut context: Context,
    ) -> Result<CustomResult, ErrorData> {
        // The list of methods is closed: what the protocol does not define is refused by the decision point.
        let method = request.method.clone();
        let admitted = self.gate.admit(&method, &request.params, &mut context).await?;
        match method.as_str() {
            // Of former revisions, and without a method of their own here.
            "tasks/list" | "tasks/result" => {
                let sent = request.params.replace(admitted.params()?);
                let handles = gate::Handles::of(sent.as_ref(), request.params.as_ref());
                let result = self.handler.on_custom_request(request, context).await?;
                Ok(CustomResult(handles.of_client(result.0)?))
            }
            // What has a method of its own and comes here has another form, and nothing of its answer would be changed.
            method if palisade_mcp::is_request(method) => {
                Err(ErrorData::invalid_params("the request has not the form of its method", None))
            }
            _ => self.handler.on_custom_request(request, context).await,
        }
    }

    async fn on_custom_notification(
        &self,
        notification: CustomNotification,
        mut context: NotificationContext<RoleServer>,
    ) {
        let method = notification.method.clone();
        if self.gate.hears(&method, &notification.params, &mut context.extensions).await {
            self.handler.on_custom_notification(notification, context).await;
        }
    }

    async fn on_initialized(&self, mut context: NotificationContext<RoleServer>) {
        if self.gate.hears("notifications/initialized", &json!({}), &mut context.extensions).await {
            self.handler.on_initialized(context).await;
        }
    }

    async fn on_roots_list_changed(&self, mut context: NotificationContext<RoleServer>) {
        if self.gate.hears("notifications/roots/list_changed", &json!({}), &mut context.extensions).await {
            self.handler.on_roots_list_changed(context).await;
        }
    }

    // A subscription begins before its handler is asked, and what comes of it would pass uncut: none is accepted. The layer has
    // them.
    fn accepted_subscription_filter(&self, _requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        None
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        context.cancelled().await;
        Ok(())
    }

    // What the server is, is no client's secret, and these are asked without one.
    fn get_info(&self) -> ServerConfig {
        self.handler.get_info()
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.handler.get_tool(name)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        self.handler.supported_protocol_versions()
    }

    fn negotiate_initialize(&self, request: &InitializeRequestParams) -> Result<InitializeResult, ErrorData> {
        self.handler.negotiate_initialize(request)
    }
}

#[cfg(test)]
mod tests;
